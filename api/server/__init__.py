"""The HTTP server before any route: connections, headers, bodies, origins, the access log."""
