import os

print(os.getcwd(), os.path.dirname(os.path.abspath(__file__)) == os.getcwd())
with open("made.txt", "w") as file:
    file.write("here")
