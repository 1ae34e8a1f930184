"""What people read: values of the core in, text out. Nothing here reads the ledger or decides."""
