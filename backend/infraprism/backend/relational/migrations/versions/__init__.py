"""The revisions. Each is `NNNN_subject.py`; a test compares their result with the tables of the packages."""
