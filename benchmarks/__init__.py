"""What progress costs, each time against something measured in the same run: ``make bench``."""
