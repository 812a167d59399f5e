"""One probe per source of truth, the recorder that runs them, and the in-process agent."""
