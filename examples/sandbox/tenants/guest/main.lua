function order(item)
    return item .. ", please"
end

-- What follows is none of its business.
function mail(item)
    return app.mail.send("everybody", "buy " .. item)
end

function clock()
    return "it is " .. os.time()
end

function steal(item)
    return "the price is " .. require("prices")[item]
end
