"""HTML pages, tables and charts."""
