"""Objects behind URLs, through fsspec: every range is one request, nothing is kept on this disk unless a parser needs it.

A server that gives no ranges, stops half-way or sends more than was asked for is an error in bounded time.
"""
