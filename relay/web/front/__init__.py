"""The media front: a reverse proxy for the instance's own media, which says what the relay knows of them.

asking      what is asked for, read strictly
answers     what the front answers itself
vouching    what is said about the bytes that are delivered
door        all of it together

What passes of the server's answer, and how, is decided as in the gateway: see `relay.web.gateway.passage`.
"""
