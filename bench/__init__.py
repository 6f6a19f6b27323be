"""How fast the server is, in terms of what this machine can do at best. ``make bench`` runs it."""
