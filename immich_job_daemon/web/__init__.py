"""One WSGI application with two faces: numbers for machines, a page for people."""
