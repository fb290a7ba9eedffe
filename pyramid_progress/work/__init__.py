"""What runs: task objects, the publisher of their progress, worker threads."""
