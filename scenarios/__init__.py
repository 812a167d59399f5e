"""What is replayed: programs that run on their own, without a recorder."""
