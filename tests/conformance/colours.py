# variables: FORCE_COLOR=1
import json


def fails():
    json.loads("{")


fails()
