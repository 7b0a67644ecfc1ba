"""Services of others that know pictures: asked only where the admin switched them on.

exposure   what may leave this machine
answers    what a service is asked, and what it may answer
http       how it is asked, within bounds
breaker    when it is left alone
budget     how often a day it may be asked
copies     what is shown to one that does not take a file itself
desk       all that are switched on, asked side by side
merge      what their answers make of a report; pure

One file a service: arachnid, photodna, hma, google.
"""
