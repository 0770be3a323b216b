from multiprocessing import shared_memory

block = shared_memory.SharedMemory(create=True, size=16)
block.buf[:4] = b"data"
print(bytes(block.buf[:4]))
block.close()
block.unlink()
