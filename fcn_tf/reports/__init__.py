"""Pages, tables and charts: what is written for people to look at."""
