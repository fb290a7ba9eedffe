"""What the platform provides: the life of a process, and locks on files. Nothing here knows of progress."""
