"""Who may do what: roles, actions, and the one table of both."""
