import argparse
import asyncio
import collections
import csv
import ctypes
import dataclasses
import datetime
import decimal
import email
import functools
import gc
import hashlib
import http.client
import socket
import sqlite3
import ssl
import statistics
import typing
import unittest
import urllib.request
import xml.etree.ElementTree as tree

print(decimal.Decimal("1.1") + 1, tree.fromstring("<a/>").tag, hashlib.sha256(b"").hexdigest()[:8], gc.isenabled())
print(sqlite3.connect(":memory:").execute("select 1").fetchall(), functools.reduce(max, [1, 3, 2]))
