"""The labelling page: people answer the label queue with clicks, brush and polygons.

journal     what people decided, append-only        database   leases, drafts and sessions, in SQLite
images      pictures and known labels in the shards  round      where each image of the queue stands
choose      what a person gets next                  desk       what a person does: label, skip, flag
review      what a reviewer does                     handover   labels become shards, the queue is closed
clicks      clicks become regions                    app        the web server; page/ is what it serves
office      opens the desk, for the page and for the simulated user
"""
