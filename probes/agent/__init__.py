"""What runs inside recorded Python programs: standard library only, and no word of it printed anywhere."""
