"""One family of checks a file; each check registers itself by its code."""
