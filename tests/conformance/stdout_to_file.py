import sys

print("to stdout")
sys.stdout = open("log.txt", "w")
print("to the file")
