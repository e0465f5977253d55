"""report.html: everything about a workspace that a person wants to see after a turn, in one offline page."""
