"""The programs themselves; `limited_group` alone is none, it sets limits for those that need them."""
