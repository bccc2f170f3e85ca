// BlobCoding
