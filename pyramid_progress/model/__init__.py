"""What a task is: its record and the rules by which it changes, its status, valid values, settings, messages."""
