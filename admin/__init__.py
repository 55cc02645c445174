"""Commands for whoever runs the service: import, export, verify and rebuild.

They do what the service does, without HTTP, and share its settings.
"""
