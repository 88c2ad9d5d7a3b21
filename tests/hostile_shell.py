"""A shell that is set up for something else: variables that lead libraries astray."""

from pathlib import Path

_ASTRAY = {
    **{f"{scheme}_PROXY": "http://127.0.0.1:9" for scheme in ("HTTP", "HTTPS", "WS", "WSS")},
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "example.com",
    "PGCHANNELBINDING": "require",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATABASE": "nowhere",
    "PGGSSENCMODE": "require",
    "PGHOST": "nowhere",
    "PGHOSTADDR": "127.0.0.9",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGPASSFILE": "/nowhere",
    "PGPORT": "9",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGSERVICE": "nowhere",
    "PGSSLMODE": "verify-full",
    "PGTARGETSESSIONATTRS": "standby",
    "PGUSER": "nobody-here",
    "PREFECT_API_KEY": "for-another-server",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "PREFECT_HOME": "/nowhere",
    "PREFECT_PROFILE": "nowhere",
    "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
    "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
    "PYTHONIOENCODING": "ascii",
    "PYTHONOPTIMIZE": "2",
    "PYTHONSAFEPATH": "1",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONWARNINGS": "error",
    "UVICORN_ROOT_PATH": "/elsewhere",
    "UVICORN_WORKERS": "3",
    "WEB_CONCURRENCY": "3",
    "CURL_CA_BUNDLE": "/nowhere",
    "REQUESTS_CA_BUNDLE": "/nowhere",
    "SSL_CERT_DIR": "/nowhere",
    "SSL_CERT_FILE": "/nowhere",
    "MATPLOTLIBRC": "/nowhere",
    "MPLBACKEND": "tkagg",
    "MPLCONFIGDIR": "/nowhere",
    "OMP_NUM_THREADS": "7",
    "COLUMNS": "200",
    "LANG": "de_DE.ISO-8859-1",
    "LC_ALL": "C",
    "TERM": "dumb",
    "TMPDIR": "/nowhere",
    "TZ": "Asia/Tokyo",
}


def variables(folder: Path) -> dict[str, str]:
    """The variables; somebody's modules, which end whoever imports them, are made in `folder`."""
    for package in ("api", "flows", "prefect"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("raise SystemExit('of somebody else')\n")
    return _ASTRAY | {"PYTHONPATH": str(folder)}
