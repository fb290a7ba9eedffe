"""What answers requests and draws pages."""
