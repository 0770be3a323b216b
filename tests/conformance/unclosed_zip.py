import zipfile

archive = zipfile.ZipFile("left_open.zip", "w")
archive.writestr(zipfile.ZipInfo("member"), "content")
