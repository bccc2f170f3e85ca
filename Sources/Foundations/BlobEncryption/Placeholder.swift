// BlobEncryption
