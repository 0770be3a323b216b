import random
import secrets
import uuid

with open("seen", "w") as file:
    file.write("")
random.seed(7)
print(random.random(), len(secrets.token_hex(4)), uuid.uuid5(uuid.NAMESPACE_DNS, "x"), uuid.uuid4() != uuid.uuid4())
