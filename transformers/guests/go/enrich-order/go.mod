module enrich-order

go 1.24

require penstock v0.0.0

replace penstock => ../../../sdk/go
