// Pxar
