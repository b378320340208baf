"""The page and the API of steps/serve.py: app (HTTP), worker (a process that decodes and scores), verdicts (what is
answered).

app is not imported here, because it wants FastAPI, which is an extra (requirements-serve.txt).
"""
