"""The gateway: the backend's outbound proxy, through which nothing passes as media that was not examined.

listener   takes connections, reads their first lines, hands them on
connect    reads a CONNECT
access     who may ask, and for what
tunnel     bytes that pass unseen (without a certificate authority)
exchange   one request and its answer
passage    what passes of an answer, and how
headers    what of them goes on
kinds      whether the first bytes of an answer may be media
coding     what lies inside a content coding, within bounds
bodies     the body of an answer: its beginning first, then the rest
verdicts   whether a copy may be released
ranges     parts of a released copy
answers    what the gateway answers itself
door       all of it together
"""
