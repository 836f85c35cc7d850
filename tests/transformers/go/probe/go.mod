module probe

go 1.24

require penstock v0.0.0

replace penstock => ../../../../transformers/sdk/go
