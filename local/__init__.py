"""The development host: Azurite and a stand-in for the Azure Functions host, on a laptop. Never deployed.

`python -m local` runs both, `python -m local.host` only the host. Nothing here may be imported by `shared/` or by
`function_app.py`.
"""
