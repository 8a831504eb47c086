"""Sources: what brings documents out of databases, websites and folders, on time, and tells of it. It joins the server as an extension."""
