import asyncio


async def main():
    await asyncio.sleep(0.001)
    process = await asyncio.create_subprocess_exec("true")
    print("awaited", await process.wait())


asyncio.run(main())
