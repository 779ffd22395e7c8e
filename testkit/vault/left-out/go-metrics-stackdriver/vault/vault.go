package vault

var Extractor, Bucketer interface{}
