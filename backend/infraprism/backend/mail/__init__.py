"""Mail to members and owners of accounts: links, and never a figure."""
