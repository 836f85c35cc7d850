"""`http_request`: requests to hosts that the registry names, made by the host.

Threat: the guest chooses the URL, the headers and the moment; whoever owns a name chooses its addresses, anew for each question; a
server chooses its answer, its pace and where it redirects to. So a URL is read strictly and built anew from what was understood; the
address is checked where the socket is made, after the last look-up; redirects are new requests; everything received is counted before
it is kept; and the guest's thread stops waiting when its time is over, whatever the other side does.

`urls`, `addresses`, `rules`, `headers` and `redirects` decide and do nothing; `client` does, on the event loop of `thread`.
Only `client`, `connections` and `thread` import asyncio or aiohttp, and only when a grant needs them.
"""
