file = open("left_open.txt", "w")
file.write("flushed all the same")
