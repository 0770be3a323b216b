import json

json.left_open = open("left_open.txt", "w")
json.left_open.write("flushed all the same")
