"""The forms that serial dispatch takes: in a crew, in a Ray driver, in an event loop."""
