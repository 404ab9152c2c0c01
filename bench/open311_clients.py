"""Our Open311 driven by two clients that nobody here wrote: three 0.8.0 (files) and georeport 0.3.1 (follows).

They are no part of this project's environment. Make one for them and run this file with its Python:

    python -m venv clients && clients/bin/pip install three==0.8.0 georeport==0.3.1
    clients/bin/python bench/open311_clients.py file --base http://127.0.0.1:8000/open311/v2 --key KEY \\
        --service fire.smoke --lat 22.75 --long 114.25 --text "smoke from a window"
    clients/bin/python bench/open311_clients.py follow --base http://127.0.0.1:8000/open311/v2 --id 123456789012

Prints one JSON object. three was written for Python 2: the one name it imports that is gone since is given back to it.
"""

import argparse
import importlib
import itertools
import json
import sys
from typing import Any


def main() -> None:
    """Parse, call, print."""
    sys.path.pop(0)  # this folder: its queue.py would stand before Python's own, which the clients need
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("file", "follow"))
    parser.add_argument("--base", required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--jurisdiction", default=None)
    parser.add_argument("--service", default="")
    parser.add_argument("--lat", default="")
    parser.add_argument("--long", default="")
    parser.add_argument("--text", default="")
    parser.add_argument("--id", default="")
    given = parser.parse_args()
    print(json.dumps(file(given) if given.what == "file" else follow(given), ensure_ascii=False))


def file(given: argparse.Namespace) -> dict[str, Any]:
    """With three: what there is, what a service asks for, a request, and what is refused."""
    itertools.ifilter = filter  # type: ignore[attr-defined]  # Python 2's name, which three imports
    three = importlib.import_module("three")
    city = three.Three(given.base, api_key=given.key, jurisdiction=given.jurisdiction or "")
    stranger = three.Three(given.base, api_key="not-a-key")
    filed = city.post(
        given.service,
        lat=given.lat,
        long=given.long,
        name="Ann Example",
        email="ann@example.com",
        description=given.text,
    )
    request_id = filed[0]["service_request_id"]
    return {
        "discovery": city.discovery(),
        "services": len(city.services()),
        "definition": city.services(given.service),
        "filed": filed,
        "request": city.request(request_id),
        "open": [one["service_request_id"] for one in city.requests(given.service, status="open")],
        "refused": stranger.post(given.service, lat=given.lat, long=given.long, description="no key"),
    }


def follow(given: argparse.Namespace) -> dict[str, Any]:
    """With georeport: the request in JSON and in XML, alone and in the list."""
    georeport = importlib.import_module("georeport")
    found = {}
    for form in ("json", "xml"):
        city = georeport.GeoReport(given.base, jurisdiction=given.jurisdiction, output_format=form)
        listed = city.get_service_requests()
        found[form] = {
            "request": city.get_service_request(given.id),
            "listed": len(listed) if isinstance(listed, list) else 1,
            "services": len(city.get_service_list()),
        }
    return found


if __name__ == "__main__":
    main()
