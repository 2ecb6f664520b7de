"""Tests in a real browser: whole notebooks in JupyterLab, and single front-end files in a plain page."""
