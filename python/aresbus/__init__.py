"""aresbus."""
