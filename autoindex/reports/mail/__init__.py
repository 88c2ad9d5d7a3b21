"""Reports by mail: the body, the delivery, and signed links to report files."""
